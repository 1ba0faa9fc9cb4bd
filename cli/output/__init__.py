"""What commands print: tables, progress, the doctor report, fix plans."""
