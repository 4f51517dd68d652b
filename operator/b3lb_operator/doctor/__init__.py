"""Examines a farm: facts are gathered once, pure checks make findings of them. Nothing is written anywhere."""
