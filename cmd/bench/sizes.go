package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// growth measures one file of each size: what it takes has to grow as the file does.
func (b *bench) growth() error {
	b.printf("\n## From small to large\n\n`stanch scan FILE` of one file of each size, made of Go source. The bar is the processor time for each MB, less\n" +
		"that of `stanch version`.\n\n| MB | wall s | CPU s | peak MB | CPU ms per MB | |\n|--:|--:|--:|--:|--:|---|\n")
	start, err := b.process(command{name: "version", argv: []string{b.stanch, "version"}})
	if err != nil {
		return err
	}
	least, growth := math.Inf(1), 0.0
	for _, size := range b.sizes {
		used, err := b.oneFile(size)
		if err != nil {
			return err
		}
		each := milliseconds(used.cpu-start.cpu) / float64(size/mega)
		growth, least = max(growth, each/least), min(least, each)
		b.printf("| %d | %.2f | %.2f | %d | %.2f | %s |\n", size/mega, used.wall.Seconds(), used.cpu.Seconds(), used.peak/mega, each,
			strings.Repeat("█", int(math.Round(each))))
	}
	const most = 1.2
	b.targets()
	b.target("CPU per MB, over that of any smaller file", fmt.Sprintf("≤ %.1f", most), fmt.Sprintf("%.2f", growth), growth <= most)
	return nil
}

// oneFile measures the scan of a file of so many bytes.
func (b *bench) oneFile(size int64) (usage, error) {
	name := filepath.Join(b.work, "large.txt")
	defer os.Remove(name)
	if err := b.makeLarge(name, size); err != nil {
		return usage{}, err
	}
	runs := b.runs
	if size > 100*mega {
		runs = 1
	}
	used, err := b.measureAll(command{name: fmt.Sprintf("scan of %d MB", size/mega), argv: []string{b.stanch, "scan", "--quiet", name}, runs: runs})
	if err != nil {
		return usage{}, err
	}
	return used[0], nil
}

// makeLarge writes Go's source to one file, over and over.
func (b *bench) makeLarge(name string, size int64) error {
	goroot, _, err := b.roots()
	if err != nil {
		return err
	}
	all, err := sources(goroot)
	if err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	for left := size; ; {
		for _, s := range all {
			if filepath.Ext(s.rel) != ".go" {
				continue
			}
			in, err := os.Open(s.path)
			if err != nil {
				return err
			}
			n, err := io.Copy(out, io.LimitReader(in, left))
			in.Close()
			if err != nil {
				return err
			}
			if left -= n; left == 0 {
				return out.Close()
			}
		}
		if left == size {
			return fmt.Errorf("%s has no Go source to make a file of", goroot)
		}
	}
}
