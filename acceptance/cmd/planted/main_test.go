package main

import "testing"

func TestAllDefectsCanBePlanted(t *testing.T) {
	t.Parallel()
	for _, d := range defects {
		if _, err := d.plant("../../.."); err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
	}
}
