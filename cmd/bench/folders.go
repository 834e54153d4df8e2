package main

import "fmt"

// What the folders' figures should be.
const (
	targetRate  = 100 // MB for each second of processor time
	targetRatio = 60  // times gitleaks' rate
)

// folders compares how fast the two read folders: gitleaks a sample of what Stanch
// reads, as it would take a quarter of an hour for the whole.
func (b *bench) folders() error {
	goroot, modules, err := b.roots()
	if err != nil {
		return err
	}
	const all = 1 << 40
	b.printf("\n## Folders\n\n`stanch scan FOLDER` and `gitleaks dir --no-banner --exit-code 0 FOLDER`, on text files. gitleaks gets a sample of each\n" +
		"folder (by a hash of the names), so its start weighs more, by some tenths of a per cent.\n\n" +
		"| folder | program | files | MB | wall s | CPU s | peak MB | MB per CPU s |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	rates := make(map[string]float64)
	for _, f := range []struct {
		name, root string
		limit      int64
	}{{"Go source", goroot, all}, {"Go modules", modules, b.folderMB * mega}} {
		whole, err := b.corpus(f.name, f.root, f.limit)
		if err != nil {
			return err
		}
		sample, err := b.corpus(f.name+" sample", f.root, b.sampleMB*mega)
		if err != nil {
			return err
		}
		used, err := b.measureAll(
			command{name: "scan " + f.name, argv: []string{b.stanch, "scan", "--quiet", whole.dir}, runs: b.runs},
			command{name: "gitleaks dir", argv: []string{b.gitleaks, "dir", "--no-banner", "--exit-code", "0", sample.dir}, runs: b.peerRuns})
		if err != nil {
			return err
		}
		for i, c := range []corpus{whole, sample} {
			program := []string{"stanch", "gitleaks"}[i]
			rates[f.name+program] = rate(c.bytes, used[i].cpu)
			b.printf("| %s | %s | %d | %.1f | %.2f | %.2f | %d | %.1f |\n", f.name, program, c.files, float64(c.bytes)/mega,
				used[i].wall.Seconds(), used[i].cpu.Seconds(), used[i].peak/mega, rate(c.bytes, used[i].cpu))
		}
	}
	if err := b.unpacking(goroot); err != nil {
		return err
	}
	b.targets()
	for _, name := range []string{"Go source", "Go modules"} {
		ours, theirs := rates[name+"stanch"], rates[name+"gitleaks"]
		b.target(name+": MB per CPU second", fmt.Sprintf("≥ %d", targetRate), fmt.Sprintf("%.0f", ours), ours >= targetRate)
		b.target(name+": times gitleaks'", fmt.Sprintf("≥ %d", targetRatio), fmt.Sprintf("%.0f", ours/theirs), ours >= targetRatio*theirs)
	}
	return nil
}

// unpacking measures the source of Go as it is, with the archives in it. gitleaks
// leaves these packed.
func (b *bench) unpacking(goroot string) error {
	used, err := b.measureAll(command{name: "scan GOROOT/src as it is", argv: []string{b.stanch, "scan", "--quiet", goroot}, runs: b.runs, holes: true})
	if err != nil {
		return err
	}
	size, files, err := weigh(goroot)
	if err != nil {
		return err
	}
	b.printf("| Go source as it is¹ | stanch | %d | %.1f | %.2f | %.2f | %d | %.1f |\n\n"+
		"¹ With its binary files and its archives, which Stanch unpacks and gitleaks leaves packed.\n",
		files, float64(size)/mega, used[0].wall.Seconds(), used[0].cpu.Seconds(), used[0].peak/mega, rate(size, used[0].cpu))
	return nil
}

// weigh counts what is in a folder.
func weigh(root string) (size int64, files int, err error) {
	all, err := sources(root)
	for _, s := range all {
		size += s.size
	}
	return size, len(all), err
}

// targets begins a table of targets.
func (b *bench) targets() { b.printf("\n| target | wanted | measured | |\n|---|--:|--:|---|\n") }

// target writes one of its rows.
func (b *bench) target(name, wanted, measured string, holds bool) {
	verdict := "holds"
	if !holds {
		verdict = "**missed**"
	}
	b.printf("| %s | %s | %s | %s |\n", name, wanted, measured, verdict)
}

// maxPeak is how much memory any run may take.
const maxPeak = 150 * mega

// memory tells which run took the most.
func (b *bench) memory() {
	b.printf("\n## Memory\n")
	b.targets()
	b.target("peak of all runs above ("+b.peakOf+"), MB", fmt.Sprintf("< %d", maxPeak/mega), fmt.Sprint(b.peakBytes/mega), b.peakBytes < maxPeak)
}
