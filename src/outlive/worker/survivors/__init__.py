"""What survived in a worker, told.

`capture` writes its graph, `objects` describes each of it, `references` finds the names by which one holds
another, `allocations` the lines at which memory that stays was taken.
"""
