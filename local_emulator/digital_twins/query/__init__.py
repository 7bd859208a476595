"""The query language: grammar, syntax tree, evaluation."""
