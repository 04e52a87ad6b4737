package admin

import (
	"encoding/json"
	"net/http"

	"github.com/stillpage/stillpage/internal/strictjson"
)

// problem is what is answered in the place of what was asked for (RFC 9457).
type problem struct {
	Status int                `json:"status"`
	Title  string             `json:"title"`            // of the status
	Detail string             `json:"detail"`           // what is wrong, and what would be right
	Faults []strictjson.Fault `json:"faults,omitempty"` // of the document that was sent
}

func refuse(w http.ResponseWriter, status int, detail string, faults ...strictjson.Fault) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(problem{status, http.StatusText(status), detail, faults})
}

// answer writes a document.
func answer(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.Encode(document)
}
