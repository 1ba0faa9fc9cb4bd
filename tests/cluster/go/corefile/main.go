// How CoreDNS itself reads Corefiles: a JSON list of texts in, a JSON list of server blocks out.
package main

import (
	"encoding/json"
	"log"
	"os"
	"strings"

	"github.com/coredns/caddy/caddyfile"
)

type block struct {
	Keys   []string            `json:"keys"`
	Tokens map[string][]string `json:"tokens"`
}

type told struct {
	Error  string  `json:"error"`
	Blocks []block `json:"blocks"`
}

func read(text string) told {
	parsed, err := caddyfile.Parse("Corefile", strings.NewReader(text), nil)
	if err != nil {
		return told{Error: err.Error()}
	}
	blocks := []block{}
	for _, one := range parsed {
		tokens := map[string][]string{}
		for name, found := range one.Tokens {
			for _, token := range found {
				tokens[name] = append(tokens[name], token.Text)
			}
		}
		blocks = append(blocks, block{one.Keys, tokens})
	}
	return told{Blocks: blocks}
}

func main() {
	log.SetFlags(0)
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		log.Fatal(err)
	}
	answers := []told{}
	for _, text := range texts {
		answers = append(answers, read(text))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}
