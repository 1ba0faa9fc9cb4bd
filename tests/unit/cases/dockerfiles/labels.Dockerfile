FROM app:1
LABEL a="one two" b="quote \" and \$HOME"
