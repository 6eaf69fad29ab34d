package mongostore_test

import (
	"testing"
)

func TestR09ChangesOfDifferentKeysAllSurvive(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, p *place) {
		store := p.store(nil)
		b := start(t, store, map[any]any{"n": 0})
		first, second := b.load(t, store), b.load(t, store)
		second.Values["b"] = "from b"
		second.saved(t)
		first.Values["a"] = "from a"
		first.saved(t)
		b.wantValues(t, store, map[any]any{"n": 0, "a": "from a", "b": "from b"})
	})
}
