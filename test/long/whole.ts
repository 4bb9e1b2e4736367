/** Imported before a file of test/step: its random draws, kills and interrupts are then as many as there is time for here. */
process.env.FPDT_TEST_DRAWS = 'whole'
