//go:build !race

package checks_test

const raced = false
