"""Open questions as conjectures, one file each: ``ssem test FILE`` judges it, and so does
``python -m proofs_numeric.conjectures.NAME``. What was learned stands at the head of each file."""
