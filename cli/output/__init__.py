"""What the commands print: tables, progress, the doctor report, fix plans."""
