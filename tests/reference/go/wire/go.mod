module kvass.test/reference/wire

go 1.26.0
