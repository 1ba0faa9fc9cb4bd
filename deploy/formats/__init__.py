"""Other programs' formats, edited without losing a byte."""
