package checks

import "strings"

// bigrams tells how often a letter follows another in English and in identifiers:
// row and column are the letters a to z, 5 means as often as in random text, each
// step up twice, each step down half as often. Counted in the words of the Go
// project's sources and their comments.
const bigrams = "" +
	"45663441513656152667463431" + "65546442642743543664634242" +
	"74546446506554742556442130" + "65567433721544543664544341" +
	"53664542302556344776243521" + "64556742701654651665523231" +
	"54547445612546741665533112" + "74457433613543641555524142" +
	"44655551211558651566151304" + "74556443535455653374644332" +
	"64448454622555443475433332" + "63457433703633732455433252" +
	"75447322603453771364532230" + "63666572514434632367442021" +
	"44653541403557560755555200" + "73547434504653652766523230" +
	"44455444413563345654854344" + "73558442604454641566433240" +
	"53547336703543553467624252" + "63547425701543651665533352" +
	"56545542501667362666132302" + "64557534601564464465444412" +
	"74556435602456652664434413" + "55656633511443563457464532" +
	"44545332523476471476353344" + "64548344621433532343444546"

// spoken reports whether letters, of any case, follow each other as in words.
func spoken(letters string) bool {
	if len(letters) < 3 {
		return true // too short to tell: id, db
	}
	sum := 0
	for i := 1; i < len(letters); i++ {
		sum += int(bigrams[26*int(letters[i-1]|0x20-'a')+int(letters[i]|0x20-'a')] - '0')
	}
	pairs := len(letters) - 1
	switch {
	case len(letters) == 3:
		return 10*sum >= 35*pairs
	case len(letters) < 8:
		return 10*sum >= 41*pairs
	case len(letters) < 10:
		return 10*sum >= 47*pairs
	}
	return 10*sum >= 49*pairs
}

// namelike reports whether value is made as names in programs are: words, each in
// one case or capitalised, perhaps with a number behind, joined by separators or by
// their capitals.
func namelike(value string) bool { return worded(value, 33) }

// worded is namelike for words of so many letters, in tenths, on average.
func worded(value string, average int) bool {
	words, letters, strange, digits := 0, 0, 0, 0
	for i := 0; i < len(value); {
		b := value[i]
		switch {
		case isLetter(b):
			n := wordLength(value[i:])
			if !spoken(value[i : i+n]) {
				strange += n
			}
			words++
			letters += n
			i += n
		case b >= '0' && b <= '9':
			n := 1
			for i+n < len(value) && value[i+n] >= '0' && value[i+n] <= '9' {
				n++
			}
			if i == 0 || isLetter(value[i-1]) || i+n < len(value) && isLetter(value[i+n]) {
				digits += n // the rest are dates and numbers of versions
			}
			if n >= 3 && i > 0 && i+n < len(value) && !size(value[i:i+n]) {
				return false
			}
			i += n
		case b == '_' || b == '-' || b == '.' || b == '/' || b == ':' || b == ' ' || b == ',':
			i++
		default:
			return false
		}
	}
	// Random values fall into many short pieces, or hold many digits. An
	// abbreviation among words is none of them.
	return words > 0 && 10*letters >= average*words && digits <= 3 && 10*strange <= 3*letters
}

// size reports whether digits amid a name are those of an algorithm or a standard.
func size(digits string) bool {
	switch digits {
	case "128", "192", "224", "256", "384", "509", "512", "521", "25519":
		return true
	}
	return false
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// wordLength returns the length of the word that s begins with: small letters, with
// a capital before or not, or capitals.
func wordLength(s string) int {
	n := 1
	upper := s[0] < 'a'
	if upper && len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		upper = false
	}
	for n < len(s) && isLetter(s[n]) && (s[n] < 'a') == upper {
		n++
	}
	if upper && n > 1 && n < len(s) && s[n] >= 'a' && s[n] <= 'z' {
		n-- // HTTPServer: the last capital begins the next word
	}
	return n
}

// known reports whether value is a password that stands in every manual, with any
// separators, digits and marks behind it.
func known(value string) bool {
	core := strings.TrimRight(plain(value), "0123456789!.#$@?*")
	if core == "" {
		return len(value) < 10 && strings.Contains("0123456789876543210", value)
	}
	switch core {
	case "password", "passwd", "passphrase", "passwort", "pass", "pwd", "pw", "secret", "hunter", "foobar", "foobarbaz", "foo", "bar",
		"baz", "sample", "supersecret", "topsecret", "verysecret", "username", "credentials", "yourpassword", "mypassword",
		"mysecretpassword", "mysecretpw", "mysecret", "somepassword", "thepassword", "userpassword", "userpass", "newpassword",
		"oldpassword", "dbpassword", "dbpass", "databasepassword", "adminpassword", "rootpassword", "testpassword", "testing", "test",
		"testpass", "postgrespassword", "mysqlpassword", "mongopassword", "redispassword", "postgres", "mongodb", "admin", "root",
		"guest", "qwerty", "letmein", "welcome", "default", "none", "null", "undefined", "token", "apikey", "mytoken", "myapikey", "key",
		"abc", "abcdef", "abcdefgh", "secretkey", "pssword", "pssw", "p@ssword", "p@ssw0rd", "passw0rd", "pa55word", "pa55w0rd", "p@ssw",
		"passw", "s3cr3t", "s3cret", "secretpassword", "secretpass", "authpassword", "foobared", "p@ss:word", "asdf", "asdfghjkl", "qwertyuiop", "notsecret":
		return true
	}
	return false
}
