# SPDX-License-Identifier: GPL-2.0-or-later
"""The evaluation: many boots of many images by many ways, what came of them, and reports of that.

`task` and `plan` say what is to run, `worker` runs one of it, `engines` run many, `journal` keeps what came,
`analysis` makes sections of it and `report` documents of those. `evaluation` is the flow through all of them.
"""
