// Package decode finds what is hidden in a text by an encoding: base64, hex,
// escapes of URLs, strings, mails and pages, strings that are glued together,
// UTF-16 between bytes, and archives. It knows nothing of credentials: it takes
// wrappings off, and tells for each byte of what was inside where it came from.
//
// Nothing is decoded recursively. Who wants to see encodings within encodings
// gives a layer's text back, to a depth of his choice.
package decode

// A Layer is a stretch of a text, decoded. What stands before an encoded value on
// its line may be part of the stretch, as it is: a password is known by the name
// that it is given to.
type Layer struct {
	// Encoding is "base64", "hex", "percent", "escape", "entity",
	// "quoted-printable", "utf-16" or "joined", which means that string literals
	// were put together.
	Encoding   string
	Start, End int // the stretch in the source
	Text       []byte

	context  int // so many bytes of Text were copied from Start on
	num, den int // then num characters of the encoding make den bytes
	spans    []span
}

// A span is a part of the encoded characters that stands in the source without
// a break. Each group of unit characters was size bytes long there.
type span struct {
	at   int // the first character
	from int // where it is in the source
	unit int
	size int
}

// Place returns the range in the source that the byte Text[i] comes from.
func (l *Layer) Place(i int) (start, end int) {
	if i < l.context {
		return l.Start + i, l.Start + i + 1
	}
	i -= l.context
	start, _ = l.character(i * l.num / l.den)
	_, end = l.character(((i+1)*l.num+l.den-1)/l.den - 1)
	return start, end
}

// Span returns the range in the source that Text[start:end] comes from; end is
// greater than start.
func (l *Layer) Span(start, end int) (from, to int) {
	from, _ = l.Place(start)
	_, to = l.Place(end - 1)
	return from, to
}

// character returns where a character of the encoding stands in the source.
func (l *Layer) character(i int) (start, end int) {
	low, high := 0, len(l.spans)
	for high-low > 1 {
		if mid := (low + high) / 2; l.spans[mid].at <= i {
			low = mid
		} else {
			high = mid
		}
	}
	s := l.spans[low]
	start = s.from + (i-s.at)/s.unit*s.size
	return start, start + s.size
}

// A Decoder finds layers in one text at a time. It keeps its memory between texts,
// so that clean ones cost no allocation. The zero Decoder is ready for use.
type Decoder struct {
	layer Layer
	text  []byte // of the layer that is being made
	chars []byte // an encoding's characters without what breaks its lines
	spans []span
	left  int // bytes of text that may still be yielded
}

// growth bounds the text of all layers together, as a multiple of the source:
// what is encoded in many ways at once was made to be slow to look at. A few words
// that are escaped twice are not, so that there is a least bound.
const (
	growth      = 2
	leastGrowth = 4 << 10
)

// maxKept is how much memory a Decoder keeps for the next text.
const maxKept = 4 << 20

// Layers yields every stretch of data that is encoded and whose decoded text may
// be worth reading: mostly printable, or in a format that Format knows. Layers of
// one encoding do not overlap. A layer is valid until yield returns; yield returns
// false to end the search.
//
// It reports whether all was seen: not when yield wanted no more, nor when the
// layers together are more than twice as long as data, and more than some kilobytes.
func (d *Decoder) Layers(data []byte, yield func(*Layer) bool) bool {
	d.left = max(leastGrowth, growth*len(data))
	all := d.runs(data, yield) &&
		d.escapes(&backslash, data, yield) &&
		d.escapes(&percent, data, yield) &&
		d.escapes(&ampersand, data, yield) &&
		d.byteLists(data, yield) &&
		d.wide(data, yield) &&
		d.mails(data, yield) &&
		d.literals(data, yield)
	if cap(d.text)+cap(d.chars)+cap(d.spans) > maxKept {
		*d = Decoder{}
	}
	return all
}

// begin starts a new layer.
func (d *Decoder) begin() {
	d.text, d.chars, d.spans = d.text[:0], d.chars[:0], d.spans[:0]
}

// note records that the next characters, unit of them made from size bytes of the
// source, begin at from.
func (d *Decoder) note(at, from, unit, size int) {
	if n := len(d.spans); n > 0 {
		s := d.spans[n-1]
		if s.unit == unit && s.size == size && (at-s.at)%unit == 0 && s.from+(at-s.at)/unit*size == from {
			return // it goes on
		}
	}
	d.spans = append(d.spans, span{at, from, unit, size})
}

// literal appends what stands in the source as it is.
func (d *Decoder) literal(data []byte, from, to int) {
	if from < to {
		d.note(len(d.text), from, 1, 1)
		d.text = append(d.text, data[from:to]...)
	}
}

// emit yields the layer that was made of data[start:end], whose first bytes are
// context.
func (d *Decoder) emit(encoding string, start, end, context, num, den int, yield func(*Layer) bool) bool {
	if len(d.text) > d.left {
		return false
	}
	d.left -= len(d.text)
	d.layer = Layer{encoding, start, end, d.text, context, num, den, d.spans}
	return yield(&d.layer)
}

// emitText yields the layer whose spans count bytes of its text.
func (d *Decoder) emitText(encoding string, start, end int, yield func(*Layer) bool) bool {
	return d.emit(encoding, start, end, 0, 1, 1, yield)
}
