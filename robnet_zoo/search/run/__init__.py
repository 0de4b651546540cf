"""How every search runs: recipe, data, loop and the files it leaves."""
