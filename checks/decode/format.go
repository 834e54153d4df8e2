package decode

import "bytes"

// The magic numbers of formats; those with an offset stand behind the beginning.
var magics = [...]struct {
	format, magic string
	offset        int
}{
	{"gzip", "\x1f\x8b\x08", 0},        // RFC 1952, deflate
	{"bzip2", "BZh", 0},                // a digit and a block's magic follow, see Format
	{"xz", "\xfd7zXZ\x00", 0},          // https://tukaani.org/xz/xz-file-format.txt
	{"zstd", "\x28\xb5\x2f\xfd", 0},    // RFC 8878
	{"zip", "PK\x03\x04", 0},           // PKWARE's APPNOTE.TXT
	{"zip", "PK\x05\x06", 0},           // without a member
	{"ar", "!<arch>\n", 0},             // ar(5)
	{"7z", "7z\xbc\xaf\x27\x1c", 0},    // 7zFormat.txt
	{"rar", "Rar!\x1a\x07", 0},         // https://www.rarlab.com/technote.htm
	{"lzma", "\x5d\x00\x00", 0},        // the old format of xz's authors
	{"lz4", "\x04\x22\x4d\x18", 0},     // lz4_Frame_format.md
	{"compress", "\x1f\x9d", 0},        // compress(1)
	{"cab", "MSCF\x00\x00\x00\x00", 0}, // MS-CAB
	{"tar", "ustar\x00", 257},          // POSIX.1
	{"tar", "ustar  \x00", 257},        // GNU
}

// Format returns what a file begins with: "gzip", "zlib", "bzip2", "xz", "zstd",
// "zip", "tar" or "ar", which Unpack reads; "7z", "rar", "lzma", "lz4",
// "compress" or "cab", which it does not; or "". Many formats go by these: jar,
// whl and docx are zip, deb is ar, and container images are tar. It needs the first
// 512 bytes of what may be a tar; a tar from before POSIX is recognised by its
// header's checksum.
func Format(head []byte) string {
	for _, m := range &magics {
		if len(head) > m.offset && bytes.HasPrefix(head[m.offset:], []byte(m.magic)) {
			if m.format == "bzip2" && !isBzip2(head) {
				continue
			}
			return m.format
		}
	}
	switch {
	case isZlib(head):
		return "zlib"
	case isOldTar(head):
		return "tar"
	}
	return ""
}

// Known reports whether Unpack reads a format.
func Known(format string) bool {
	switch format {
	case "gzip", "zlib", "bzip2", "xz", "zstd", "zip", "tar", "ar":
		return true
	}
	return false
}

// isBzip2 reports whether a block's magic number, pi, or the last one's, its
// square root, follows the digit.
func isBzip2(head []byte) bool {
	return len(head) >= 10 && head[3] >= '1' && head[3] <= '9' &&
		(string(head[4:10]) == "\x31\x41\x59\x26\x53\x59" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90")
}

// isZlib reports whether head begins a stream of RFC 1950 with the largest window,
// as all programs write it, and no preset dictionary. Its second byte makes both
// together a multiple of 31. "x^" would begin texts too: a stream's first block is
// seldom of the reserved type.
func isZlib(head []byte) bool {
	if len(head) < 6 || head[0] != 0x78 {
		return false
	}
	switch head[1] {
	case 0x01, 0x9c, 0xda:
		return head[2]>>1&3 != 3
	}
	return false
}

// isOldTar reports whether head is the header of a tar without a magic number: its
// checksum is the sum of all bytes, with blanks in the checksum's place.
func isOldTar(head []byte) bool {
	const size, field, digits = 512, 148, 8
	if len(head) < size || head[0] == 0 || head[field] != ' ' && (head[field] < '0' || head[field] > '7') {
		return false
	}
	want, seen := 0, false
	for _, c := range head[field : field+digits] {
		if c >= '0' && c <= '7' {
			want, seen = want<<3|int(c-'0'), true
		} else if seen || c != ' ' {
			break
		}
	}
	sum := digits * int(' ')
	for i, c := range head[:size] {
		if i < field || i >= field+digits {
			sum += int(c)
		}
	}
	return seen && sum == want
}
