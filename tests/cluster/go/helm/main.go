// Lint and render a chart with Helm's own code: helm CHART NAMESPACE VALUES.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

func main() {
	if err := render(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func render(folder, namespace, valuesFile string) error {
	text, err := os.ReadFile(valuesFile)
	if err != nil {
		return err
	}
	values := map[string]any{}
	if err := json.Unmarshal(text, &values); err != nil {
		return err
	}
	for _, message := range lint.All(folder, values, namespace, true).Messages {
		if message.Severity > support.InfoSev {
			return fmt.Errorf("lint: %s", message)
		}
	}
	chart, err := loader.Load(folder)
	if err != nil {
		return err
	}
	release := chartutil.ReleaseOptions{Name: "mirror", Namespace: namespace, IsInstall: true}
	merged, err := chartutil.ToRenderValues(chart, values, release, nil) // checks the schema
	if err != nil {
		return err
	}
	files, err := engine.Render(chart, merged)
	if err != nil {
		return err
	}
	names := []string{}
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if strings.TrimSpace(files[name]) != "" && !strings.HasSuffix(name, "NOTES.txt") {
			fmt.Printf("---\n%s\n", files[name])
		}
	}
	return nil
}
