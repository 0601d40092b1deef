# SPDX-License-Identifier: GPL-2.0-or-later
"""The smallest set of services and protocols with which an image reaches its goal, found by experiment.

`losses` says what can be taken away, `calls` what a boot used; `experiments` boots with something taken away,
`observed` says what came of that and what is different; `subsets` and `search` find the smallest set,
`confirm` tries it on QEMU; `claim`, `document` and `tables` are what people and programs read.
"""
