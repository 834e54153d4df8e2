package checks

import (
	"bytes"
	"slices"

	"github.com/stanch-dev/stanch/checks/decode"
)

// maxLayers is how many wrappings are taken off, one inside the other.
const maxLayers = 5

// layerEffort is what it costs to take a layer apart in turn, besides the bytes of
// its text: every decoder is asked.
const layerEffort = 256

// wrapped looks at what is encoded in data, and in that in turn, depth deep.
func (x *search) wrapped(data []byte, depth int) {
	if depth == 0 {
		return
	}
	seen := x.decoder.Layers(data, x.layers[depth-1])
	x.dropped = x.dropped || !seen
}

// layer looks at what one stretch of the text was decoded to. What is found there
// stands, for the text, where its encoded form does.
func (x *search) layer(l *decode.Layer, depth int) {
	inner := x.borrow()
	defer x.giveBack(inner)
	inner.path, inner.foreign, inner.effort, inner.dropped, inner.loud = x.path, x.foreign, x.effort-layerEffort-len(l.Text), false, false
	inner.limits = x.limits
	inner.plain(l.Text, window{0, len(l.Text)})
	inner.wrapped(l.Text, depth-1)
	if format := decode.Format(l.Text); decode.Known(format) {
		inner.loud = true
		inner.packed(format, l.Text)
	}
	x.effort, x.dropped, x.loud = inner.effort, x.dropped || inner.dropped, x.loud || inner.loud
	for _, c := range inner.found {
		c.start, c.end = l.Span(c.start, c.end)
		c.encodings = append([]string{l.Encoding}, c.encodings...)
		x.found = append(x.found, c)
	}
}

// packed looks at the archive that a stretch of text was decoded to.
func (x *search) packed(format string, data []byte) {
	u := &unpacker{x: x.Scanner, limits: x.limits, yield: func(f Finding) bool {
		x.found = append(x.found, candidate{
			rule:      &x.rules[slices.IndexFunc(x.rules, func(c compiled) bool { return c.Rule == f.Rule })],
			end:       len(data),
			parts:     f.Credential.Parts,
			encodings: f.Encodings,
			inside:    f.Inside,
		})
		return len(x.found) <= maxCandidates
	}}
	if err := u.unpack(format, "", bytes.NewReader(data)); err != nil || u.partial != nil {
		x.dropped = true
	}
}
