//go:build race

package app_test

// raced says that the race detector is on, under which the two longest tests play a
// part of their cases: all of them are played without it.
const raced = true
