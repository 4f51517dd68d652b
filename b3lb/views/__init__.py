"""What people and programs are shown of the farms: plain JSON values from rows, without I/O."""
