/** Before a command of the shell: node --import unmeasured.mjs bin/fpdt.mjs. */
import { Device } from '../../../kernel/lib/fpdt/device.js'
import { unmeasured } from '../unmeasured.mjs'

unmeasured(Device)
