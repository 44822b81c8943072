"""The language of templates: what may stand in one, what a value's place does to it, what rendering may use.

The planner checks by it before anything is planned, the sender renders by it, so that both say the same.
"""
