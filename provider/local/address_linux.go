package local

// address is the machine's choice of an address: here each can have one of its own.
func address(id string, attempt int) string { return spreadAddress(id, attempt) }
