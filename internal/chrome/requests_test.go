package chrome

import "testing"

func TestSameSite(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		address, host string
		want          bool
	}{
		{"https://api.shop.example/items", "www.shop.example", true},
		{"https://shop.example:8443/", "shop.example:3000", true},
		{"https://ads.example/", "shop.example", false},
		{"https://api.shop.co.uk/", "www.shop.co.uk", true},
		{"https://ads.co.uk/", "www.shop.co.uk", false},
		{"https://other.github.io/", "shop.github.io", false},
		{"http://127.0.0.1:8081/", "127.0.0.1:8080", true},
		{"http://10.0.0.1/", "10.1.0.1", false},
		{"http://[::1]:8081/", "[::1]:8080", true},
		{"http://localhost:8081/", "localhost:8080", true},
		{"data:text/plain,x", "shop.example", false},
		{"https://shop.example%/", "shop.example", false},
	} {
		if got := sameSite(tc.address, tc.host); got != tc.want {
			t.Errorf("%s and %s: got %t, want %t", tc.address, tc.host, got, tc.want)
		}
	}
}
