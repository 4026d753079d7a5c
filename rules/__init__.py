"""The judgement: the rule language and its engine. Pure: no I/O, no clock."""
