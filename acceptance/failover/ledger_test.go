package failover

import "fmt"

// ledger holds the changes of one session by their values, each of which is
// sent once: it is a key of its own, or an item of the list.
type ledger map[string]*entry

type entry struct {
	path         string
	acknowledged bool // else it may be there or not
}

func (l ledger) send(path, change string) { l[change] = &entry{path: path} }

// lost returns what a page lacks of what was acknowledged, "" if it has all, or
// what it has twice.
func (l ledger) lost(p page) string {
	count := p.count()
	for change, e := range l {
		if n := count[e.path+change]; n > 1 || n == 0 && e.acknowledged {
			return fmt.Sprintf("%s of %s is there %d times", e.path, change, n)
		}
	}
	return ""
}

// foreign returns a change on a page that is not in the ledger.
func (l ledger) foreign(p page) string {
	for key, value := range p.Values {
		if e := l[key]; e == nil || e.path != "/set" || key != value {
			return key + "=" + value
		}
	}
	for _, item := range p.List {
		if e := l[item]; e == nil || e.path != "/append" {
			return item
		}
	}
	return ""
}

func (p page) empty() bool { return len(p.Values) == 0 && len(p.List) == 0 }

// count returns how often each change is on the page.
func (p page) count() map[string]int {
	count := make(map[string]int)
	for key := range p.Values {
		count["/set"+key]++
	}
	for _, item := range p.List {
		count["/append"+item]++
	}
	return count
}
