package oracle

// counts holds a byte for each number of each sender, from 0 on: how often, up
// to 127, and whether.
type counts [][]uint8

// Of a byte of counts.
const (
	flag = 0x80
	most = 0x7f
)

// at returns the bytes from from to to, made when they are not there.
func (c *counts) at(sender int, from, to uint64) []uint8 {
	for len(*c) <= sender {
		*c = append(*c, nil)
	}
	s := (*c)[sender]
	if more := int(to) + 1 - len(s); more > 0 {
		s = append(s, make([]uint8, more)...)
		(*c)[sender] = s
	}
	return s[from : to+1]
}

// get returns a byte, 0 if it is not there.
func (c counts) get(sender int, number uint64) uint8 {
	if sender >= len(c) || number >= uint64(len(c[sender])) {
		return 0
	}
	return c[sender][number]
}

func (c *counts) add(sender int, from, to uint64) {
	s := c.at(sender, from, to)
	for i := range s {
		if s[i]&most < most {
			s[i]++
		}
	}
}

func (c *counts) mark(sender int, from, to uint64) (fresh int) {
	s := c.at(sender, from, to)
	for i := range s {
		if s[i]&flag == 0 {
			fresh++
		}
		s[i] |= flag
	}
	return fresh
}
