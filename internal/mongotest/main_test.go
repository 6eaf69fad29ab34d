package mongotest_test

import (
	"os"
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		os.Exit(mongotest.Program(ownsAProcess))
	}
	mongotest.Main(m)
}
