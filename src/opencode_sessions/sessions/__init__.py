"""A session's lifecycle: created once, guarded before it is used, replaced, deleted, pruned."""
