"""The grammar of the query language, for lark's LALR parser.

Words of the language are in any case; names and values are not. What the service has and the emulator does not
(``JOIN``, ``MATCH``) is left out of the rules, its words are not: they are recognised and refused by name.
"""

_RESERVED = (
    "ALL AND AS ASC AVG BY COUNT DESC DEVICES DEVICES_JOBS DEVICES_MODULES ENDS_WITH FALSE FROM GROUP IN IS_BOOL "
    "IS_DEFINED IS_NULL IS_NUMBER IS_OBJECT IS_OF_MODEL IS_PRIMITIVE IS_STRING JOIN MATCH MAX MIN NOT NOT_IN NULL OR "
    "ORDER SELECT STARTS_WITH SUM TOP TRUE WHERE"
)
"""Words that name a property only inside ``[[`` and ``]]``."""

GRAMMAR = (
    r"""
query: _SELECT selection _FROM source [_WHERE condition]

?selection: _COUNT "(" ")"              -> count
          | [top] STAR                  -> everything
          | top                         -> first
          | [top] projections           -> chosen

top: _TOP "(" WHOLE ")"
projections: projection ("," projection)*
projection: path [_AS name]

source: COLLECTION [name]

?condition: disjunction
?disjunction: conjunction (_OR conjunction)*
?conjunction: negation (_AND negation)*
?negation: _NOT negation                -> negated
         | primary
?primary: "(" condition ")"
        | operand COMPARISON operand    -> comparison
        | operand MEMBERSHIP "[" literal ("," literal)* "]"   -> membership
        | TEXT_TEST "(" path "," literal ")"                  -> text_test
        | ARRAY_CONTAINS "(" path "," literal ")"             -> array_contains
        | KIND_TEST "(" path ")"                              -> kind_test
        | _IS_OF_MODEL "(" [name ","] string ["," EXACT] ")"  -> is_of_model
        | path                                                -> truth

?operand: path | literal
path: name ("." name)*
name: NAME | QUOTED_NAME
?literal: string | number | truth_literal | null
string: STRING
number: NUMBER | WHOLE
truth_literal: TRUE | FALSE
null: _NULL

_SELECT.2: /SELECT\b/i
_FROM.2: /FROM\b/i
_WHERE.2: /WHERE\b/i
_COUNT.2: /COUNT\b/i
_TOP.2: /TOP\b/i
_AS.2: /AS\b/i
_AND.2: /AND\b/i
_OR.2: /OR\b/i
_NOT.2: /NOT\b/i
_NULL.2: /NULL\b/i
TRUE.2: /TRUE\b/i
FALSE.2: /FALSE\b/i
MEMBERSHIP.2: /(IN|NIN|NOT_IN)\b/i
COLLECTION.3: /(DIGITALTWINS|RELATIONSHIPS)\b/i
TEXT_TEST.2: /(STARTSWITH|ENDSWITH|CONTAINS)\b/i
ARRAY_CONTAINS.3: /ARRAY_CONTAINS\b/i
KIND_TEST.2: /(IS_DEFINED|IS_NULL|IS_BOOL|IS_NUMBER|IS_STRING|IS_OBJECT|IS_PRIMITIVE)\b/i
_IS_OF_MODEL.2: /IS_OF_MODEL\b/i
EXACT.2: /EXACT\b/i

STAR: "*"
COMPARISON: "!=" | "<=" | ">=" | "=" | "<" | ">"
STRING: /'(?:\\.|[^'\\])*'/
NUMBER: /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/
WHOLE.1: /\d+(?![\d.eE])/
QUOTED_NAME: /\[\[[^\]]+\]\]/

%ignore /\s+/
"""
    rf"NAME: /(?!(?i:{_RESERVED.replace(' ', '|')})\b)\$?[A-Za-z_][A-Za-z0-9_]*/"
    "\n"
)
