"""Describes what survived in a worker.

`capture` writes the graph of the survivors, `objects` describes each of them, `references` names the
references between them, `allocations` finds the lines that allocated the memory they keep.
"""
