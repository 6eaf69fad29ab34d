package recipes

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/sessions"
	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"
	"github.com/mongostore/mongostore"
)

// Echo is a shop on echo with the session middleware of echo-contrib.
func Echo(store *mongostore.Store) http.Handler {
	again := echo.NewHTTPError(http.StatusServiceUnavailable, "please try again")
	save := func(c echo.Context, s *sessions.Session) error {
		if err := s.Save(c.Request(), c.Response()); err != nil {
			return again.WithInternal(err)
		}
		return c.Redirect(http.StatusSeeOther, "/")
	}
	e := echo.New()
	e.Use(session.Middleware(store), echo.WrapMiddleware(store.KeepAlive("sid")))
	e.GET("/", func(c echo.Context) error {
		s, err := session.Get("sid", c)
		if errors.Is(err, mongostore.ErrUnavailable) {
			return again.WithInternal(err)
		}
		return c.String(http.StatusOK, fmt.Sprintf("user %v, basket %v\n", s.Values["user"], s.Values["basket"]))
	})
	e.POST("/basket/:item", func(c echo.Context) error {
		s, _ := session.Get("sid", c) // if MongoDB is down, Save reports it
		s.Values["basket"] = c.Param("item")
		return save(c, s)
	})
	e.POST("/login", func(c echo.Context) error {
		s, _ := session.Get("sid", c)
		s.Values["user"] = c.FormValue("user") // after you have checked the password
		store.Regenerate(s)
		return save(c, s)
	})
	e.POST("/logout", func(c echo.Context) error {
		s, _ := session.Get("sid", c)
		s.Options.MaxAge = -1
		return save(c, s)
	})
	return e
}
