// Package recipes has the store in small applications on what Go programmers
// use with it. docs/recipes.md shows them.
package recipes
