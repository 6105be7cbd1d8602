package given

// List is for tests of another package: this one is not to import os.
var List = list
