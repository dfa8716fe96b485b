package agent

import (
	"context"

	"github.com/runnel-log/runnel/agent/inputs"
	"github.com/runnel-log/runnel/record"
)

// points are what tests ask of an agent that they end at places that have a
// name. The zero value asks nothing, and costs nothing.
type points struct {
	reached  inputs.Points
	segments int64 // bytes of a segment of the store, so that some end soon; 0: as usual
}

// The places on a batch's way. The others are the store's and the inputs'.
const (
	pointAccepted   = "accepted"   // an input has a batch, and nobody else does
	pointStaged     = "staged"     // it is with the committer
	pointUnanswered = "unanswered" // it is on disk, and its sender does not know
)

// emit has the points of an input's Emit reached.
func (p points) emit(emit inputs.Emit) inputs.Emit {
	if p.reached == nil {
		return emit
	}
	return func(ctx context.Context, b *record.Batch, marks ...inputs.Mark) (inputs.Receipt, error) {
		p.reached(pointAccepted)
		receipt, err := emit(ctx, b, marks...)
		if err != nil {
			return nil, err
		}
		p.reached(pointStaged)
		return reachedReceipt{receipt, p.reached}, nil
	}
}

// reachedReceipt says when its batch is on disk.
type reachedReceipt struct {
	inputs.Receipt
	reached inputs.Points
}

func (r reachedReceipt) Wait(ctx context.Context) error {
	err := r.Receipt.Wait(ctx)
	if err == nil {
		r.reached(pointUnanswered)
	}
	return err
}
