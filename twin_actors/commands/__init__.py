"""Operators' commands, a module for each noun: what it adds to the command line, and a function for each verb."""
