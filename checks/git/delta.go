package git

import (
	"errors"

	"github.com/stanch-dev/stanch/checks"
)

var errDelta = errors.New("its difference from another object cannot be read")

// deltaSizes reads the sizes that a delta begins with: of what it is from, and of
// what it leads to (gitformat-pack(5), "Deltified representation").
func deltaSizes(delta []byte) (from, to int64, rest []byte, err error) {
	if from, delta, err = deltaSize(delta); err != nil {
		return 0, 0, nil, err
	}
	to, rest, err = deltaSize(delta)
	return from, to, rest, err
}

// deltaSize reads one size.
func deltaSize(data []byte) (size int64, rest []byte, err error) {
	for i := 0; i < len(data) && i < 8; i++ {
		size |= int64(data[i]&0x7f) << (7 * i)
		if data[i]&0x80 == 0 {
			return size, data[i+1:], nil
		}
	}
	return 0, nil, errDelta
}

// applyDelta appends to out what the instructions of a delta make of base, and to
// changed where that differs from base, as Scanner.Holds wants to know it. They must
// make exactly size bytes.
func applyDelta(out, base, instructions []byte, size int64, changed []checks.Span) ([]byte, []checks.Span, error) {
	begin := len(out)
	follows := 0 // where in base that stands which follows what was last copied
	for len(instructions) > 0 {
		op := instructions[0]
		instructions = instructions[1:]
		if op == 0 {
			return out, changed, errDelta
		}
		at := len(out) - begin
		piece := instructions
		if op&0x80 == 0 { // the next op bytes are new
			if len(piece) < int(op) {
				return out, changed, errDelta
			}
			piece, instructions = piece[:op], instructions[op:]
			changed = append(changed, checks.Span{Start: at, End: at + len(piece)})
		} else {
			var offset, n int
			var ok bool
			if offset, n, instructions, ok = copied(op, instructions); !ok || offset > len(base) || n > len(base)-offset {
				return out, changed, errDelta
			}
			piece = base[offset : offset+n]
			if offset != follows {
				changed = append(changed, checks.Span{Start: at, End: at})
			}
			follows = offset + n
		}
		if int64(at)+int64(len(piece)) > size {
			return out, changed, errDelta
		}
		out = append(out, piece...)
	}
	end := len(out) - begin
	if int64(end) != size {
		return out, changed, errDelta
	}
	if follows != len(base) {
		changed = append(changed, checks.Span{Start: end, End: end})
	}
	return out, changed, nil
}

// copied reads which part of the base an instruction copies.
func copied(op byte, instructions []byte) (offset, n int, rest []byte, ok bool) {
	for i := range 7 {
		if op>>i&1 == 0 {
			continue
		}
		if len(instructions) == 0 {
			return 0, 0, nil, false
		}
		if i < 4 {
			offset |= int(instructions[0]) << (8 * i)
		} else {
			n |= int(instructions[0]) << (8 * (i - 4))
		}
		instructions = instructions[1:]
	}
	if n == 0 {
		n = 0x10000
	}
	return offset, n, instructions, true
}
