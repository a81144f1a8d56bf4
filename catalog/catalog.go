package catalog

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// embedded is written by `make catalog`; data/SOURCES.md says where the facts come from.
//
//go:embed data/*.bin
var embedded embed.FS

const (
	// Ext is how the name of a catalog file ends; before it stands the name of the cloud.
	Ext = ".bin"
	// AcceleratorsFile is the name of the file with the accelerators.
	AcceleratorsFile = "accelerators" + Ext
)

// Catalog is the facts about all clouds. It never changes, and all its methods may be called at the same time.
type Catalog struct {
	// names of the clouds, sorted.
	names  []string
	clouds map[string]func() (*cloud, error)
	known  []Accelerator
	// accelerators are the known ones with the clouds that sell them.
	accelerators func() []Accelerator
	byFolded     func() map[string]int
}

// CloudInfo tells how good the facts about a cloud are, and how many.
type CloudInfo struct {
	// Name in infra strings.
	Name string
	// Date of the facts and where they come from, for people.
	Date, Source string
	// Note says what the facts do not tell.
	Note string
	// Offers, Types (instance types), Regions and Zones count what there is.
	Offers, Types, Regions, Zones int
}

// Open returns the facts that are part of the program. A cloud's table is opened when it is first needed.
func Open() (*Catalog, error) {
	data, err := fs.Sub(embedded, "data")
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	return load(data)
}

// Load returns the facts in a directory of catalog files, all of them looked at: a damaged file is an error here.
func Load(dir fs.FS) (*Catalog, error) {
	c, err := load(dir)
	if err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("load catalog: %w", err)
	}
	return assemble(learn(c.known, c.opened(nil)), c.clouds), nil
}

func load(dir fs.FS) (*Catalog, error) {
	files, err := fs.Glob(dir, "*"+Ext)
	if err != nil {
		return nil, fmt.Errorf("load catalog: %w", err)
	}
	known, err := loadAccelerators(dir)
	if err != nil {
		return nil, fmt.Errorf("load catalog: %w", err)
	}
	clouds := map[string]func() (*cloud, error){}
	for _, file := range files {
		if name := strings.TrimSuffix(path.Base(file), Ext); file != AcceleratorsFile {
			clouds[name] = sync.OnceValues(func() (*cloud, error) { return loadCloud(dir, file, name) })
		}
	}
	return assemble(known, clouds), nil
}

func assemble(known []Accelerator, clouds map[string]func() (*cloud, error)) *Catalog {
	c := &Catalog{names: slices.Sorted(maps.Keys(clouds)), clouds: clouds, known: known}
	c.accelerators = sync.OnceValue(c.sellers)
	c.byFolded = sync.OnceValue(func() map[string]int { return foldedNames(known) })
	return c
}

func loadAccelerators(dir fs.FS) ([]Accelerator, error) {
	file, err := fs.ReadFile(dir, AcceleratorsFile)
	if err != nil {
		return nil, err
	}
	list, err := decodeAccelerators(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", AcceleratorsFile, err)
	}
	return list, nil
}

func loadCloud(dir fs.FS, file, name string) (*cloud, error) {
	data, err := fs.ReadFile(dir, file)
	if err != nil {
		return nil, err
	}
	cl, err := decode(data)
	if err == nil && cl.info.Name != name {
		err = fmt.Errorf("%w: it is about %q", ErrFormat, cl.info.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return cl, nil
}

// With returns a catalog in which the table in file takes the place of what was known about its cloud. The table is
// checked whole: if it is wrong, the old facts are the better ones.
func (c *Catalog) With(file []byte) (*Catalog, error) {
	cl, err := decode(file)
	if err != nil {
		return nil, fmt.Errorf("replace a cloud's facts: %w", err)
	}
	if err := cl.table().Check(); err != nil {
		return nil, fmt.Errorf("replace a cloud's facts: %w", err)
	}
	clouds := maps.Clone(c.clouds)
	clouds[cl.info.Name] = func() (*cloud, error) { return cl, nil }
	return assemble(learn(c.known, []*cloud{cl}), clouds), nil
}

// learn adds accelerators that a cloud sells and the list does not have yet: a cloud's table is fetched more often than
// anyone edits the list. Who makes them is not known.
func learn(known []Accelerator, clouds []*cloud) []Accelerator {
	names := map[string]bool{}
	for _, a := range known {
		names[a.Name] = true
	}
	list := slices.Clone(known)
	for _, cl := range clouds {
		for i := range cl.machines {
			m := &cl.machines[i]
			if m.Accelerator == "" || names[m.Accelerator] {
				continue
			}
			names[m.Accelerator] = true
			list = append(list, Accelerator{Name: m.Accelerator, MemoryGiB: m.AcceleratorGiB, Kind: kindOf(m.Accelerator)})
		}
	}
	slices.SortFunc(list, func(a, b Accelerator) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func kindOf(accelerator string) string {
	if strings.HasPrefix(accelerator, "tpu-") {
		return KindTPU
	}
	return KindGPU
}

// Check opens every cloud's table and returns what is wrong with them. The methods that answer questions know nothing
// about a cloud whose table cannot be opened; of the facts in the program the tests check that it never happens.
func (c *Catalog) Check() error {
	var found []error
	for _, name := range c.names {
		cl, err := c.clouds[name]()
		if err == nil {
			err = cl.table().Check()
		}
		found = append(found, err)
	}
	return errors.Join(found...)
}

// opened returns the named clouds that can be opened, or all of them.
func (c *Catalog) opened(names []string) []*cloud {
	if len(names) == 0 {
		names = c.names
	}
	list := make([]*cloud, 0, len(names))
	for _, name := range names {
		if open := c.clouds[name]; open != nil {
			if cl, err := open(); err == nil {
				list = append(list, cl)
			}
		}
	}
	return list
}

// Names of the clouds, sorted. It opens none of their tables.
func (c *Catalog) Names() []string { return slices.Clone(c.names) }

// Clouds tells about every cloud, sorted by name.
func (c *Catalog) Clouds() []CloudInfo {
	var list []CloudInfo
	for _, cl := range c.opened(nil) {
		info := cl.info
		for _, zones := range cl.places() {
			info.Regions++
			info.Zones += len(zones)
		}
		list = append(list, info)
	}
	return list
}

// Regions of a cloud in which anything is offered, sorted.
func (c *Catalog) Regions(cloud string) []string {
	for _, cl := range c.opened([]string{cloud}) {
		return slices.Sorted(maps.Keys(cl.places()))
	}
	return nil
}

// Zones of a region that any offer names, sorted. On aws these are zone ids (use1-az1), because the names of zones mean
// something else in each account. There are none for clouds without zones and where the facts have none.
func (c *Catalog) Zones(cloud, region string) []string {
	for _, cl := range c.opened([]string{cloud}) {
		return slices.Clone(cl.places()[region])
	}
	return nil
}

// Table returns what is known about a cloud in the form that Encode takes.
func (c *Catalog) Table(cloud string) (Table, bool) {
	for _, cl := range c.opened([]string{cloud}) {
		return cl.table(), true
	}
	return Table{}, false
}
