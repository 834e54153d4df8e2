package git

import "errors"

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

// applyDelta appends to out what the instructions of a delta make of base. They
// must make exactly size bytes.
func applyDelta(out, base, instructions []byte, size int64) ([]byte, error) {
	begin := len(out)
	for len(instructions) > 0 {
		op := instructions[0]
		instructions = instructions[1:]
		if op == 0 {
			return out, errDelta
		}
		piece := instructions
		if op&0x80 == 0 { // the next op bytes are new
			if len(piece) < int(op) {
				return out, errDelta
			}
			piece, instructions = piece[:op], instructions[op:]
		} else {
			var offset, n int
			for i := range 7 {
				if op>>i&1 == 0 {
					continue
				}
				if len(instructions) == 0 {
					return out, errDelta
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
			if offset > len(base) || n > len(base)-offset {
				return out, errDelta
			}
			piece = base[offset : offset+n]
		}
		if int64(len(out)-begin)+int64(len(piece)) > size {
			return out, errDelta
		}
		out = append(out, piece...)
	}
	if int64(len(out)-begin) != size {
		return out, errDelta
	}
	return out, nil
}
