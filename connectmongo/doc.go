// Package connectmongo lets a Go application and an Express one share their sessions.
package connectmongo
