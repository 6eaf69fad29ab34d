package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/sessions"
)

const (
	// The cart is a list with an entry for each piece, not a number for each
	// product: of two numbers that two tabs write at once only one can stay, of
	// two entries both do. Equal entries that are added at once count as one, so
	// each piece has a mark of its own.
	cartKey = "cart" // []any of string: a product's ID, a space, the mark

	maxCart = 100
)

type product struct {
	ID, Name, Text, Icon string
	Cents                int
}

var products = []product{
	{ID: "tea", Name: "Green tea", Text: "100 g, loose leaves", Icon: "leaf", Cents: 690},
	{ID: "mug", Name: "Stoneware mug", Text: "Holds 300 ml", Icon: "mug", Cents: 1450},
	{ID: "notebook", Name: "Notebook", Text: "96 dotted pages", Icon: "book", Cents: 820},
	{ID: "pencil", Name: "Pencil", Text: "Cedar, 2B", Icon: "pencil", Cents: 180},
}

// cartLine is a product in the cart.
type cartLine struct {
	product
	Pieces int
}

func (l cartLine) Total() int { return l.Pieces * l.Cents }

type shopView struct {
	Products []product
	Cart     []cartLine
	Pieces   int
	Total    int // cents
	Full     bool
}

// shopPage is for visitors too. What they put into the cart is theirs after
// signing in, under a new cookie.
func (a *app) shopPage(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	view := shopView{Products: products}
	cart := list(session, cartKey)
	for _, p := range products {
		line := cartLine{product: p}
		for _, entry := range cart {
			if isPiece(entry, p.ID) {
				line.Pieces++
			}
		}
		if line.Pieces > 0 {
			view.Cart = append(view.Cart, line)
			view.Pieces += line.Pieces
			view.Total += line.Total()
		}
	}
	view.Full = view.Pieces >= maxCart
	return a.show(w, r, session, "shop.html", view)
}

func (a *app) addToCart(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	cart := list(session, cartKey)
	at := slices.IndexFunc(products, func(p product) bool { return p.ID == r.FormValue("product") })
	switch {
	case at < 0:
		session.AddFlash("There is no such product.", problemFlash)
	case len(cart) >= maxCart:
		session.AddFlash("The cart is full.", problemFlash)
	default:
		session.Values[cartKey] = append(cart, any(products[at].ID+" "+rand.Text()))
		session.AddFlash(products[at].Name + " is in your cart.")
	}
	return saveAndGo(w, r, session, "/shop")
}

// removeFromCart takes out one piece.
func (a *app) removeFromCart(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	cart := list(session, cartKey)
	if at := slices.IndexFunc(cart, func(entry any) bool { return isPiece(entry, r.FormValue("product")) }); at >= 0 {
		session.Values[cartKey] = slices.Delete(slices.Clone(cart), at, at+1)
	}
	return saveAndGo(w, r, session, "/shop")
}

func (a *app) order(w http.ResponseWriter, r *http.Request, session *sessions.Session) error {
	if len(list(session, cartKey)) > 0 {
		delete(session.Values, cartKey)
		session.AddFlash("Thank you for your order. It is a demo: nothing will be sent, and nothing is to be paid.")
	}
	return saveAndGo(w, r, session, "/shop")
}

// isPiece tells whether an entry of the cart is a piece of the product.
func isPiece(entry any, id string) bool {
	text, _ := entry.(string)
	product, _, _ := strings.Cut(text, " ")
	return product == id
}

func money(cents int) string { return fmt.Sprintf("€%d.%02d", cents/100, cents%100) }
