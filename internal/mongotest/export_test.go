package mongotest

import "context"

// FindRunner names what servers would be started with.
func FindRunner(ctx context.Context) (string, error) {
	r, err := findRunner(ctx)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}
