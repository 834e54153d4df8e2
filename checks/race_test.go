//go:build race

package checks_test

// raced says that the race detector is on. It makes everything ten times as slow, and
// finds in a few rounds what it would in many.
const raced = true
