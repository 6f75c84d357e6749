"""What earlier runs of a bulk have written, so that a run sends only what has changed: ``changed_only=True``.

    <state_path>/state-<number>-<digest>.sqlite     a generation: for each record the hash of what was confirmed last
    <state_path>/claim-<ledger>.json                that a run goes on from the latest one, and where its ledger is

A generation is never changed. The next one is the latest one and what a run's ledger says (``fold``), written at the
run's end, and whole under its name; a run that was killed is folded by the next one. So the state is made of ledgers
alone and never ahead of the CRM. It holds ids and hashes, and no bodies.

A hash may be wrong only to the safe side: where the outcome of a write is unknown, the record has no hash any more,
and is sent again. For that, a line in the ledger names each row that is to change its record, before it is sent; a
row of which its try says nothing else may have been written.
"""
