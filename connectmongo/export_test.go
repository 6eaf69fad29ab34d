package connectmongo

import "strconv"

// KeptKeys is how many derived keys Kruptein keeps.
const KeptKeys = keptKeys

// FillKeys returns how many keys a Kruptein keeps, and gives it as many as it can keep.
func FillKeys(crypto Crypto) int {
	k := crypto.(*kruptein)
	n := len(k.keys)
	for i := range keptKeys {
		k.keep([]byte(strconv.Itoa(i)), make([]byte, k.keySize))
	}
	return n
}
