package githubtest

import "net/http"

func (s *Server) pages(mux *http.ServeMux) {}
